"""What a machine's agent looks at, and puts into its streams, as policies of type ``collect`` say."""
