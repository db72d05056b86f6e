"""Plain OTLP that others send: read record by record, divided into frames, and kept beside the streams of our agents."""
