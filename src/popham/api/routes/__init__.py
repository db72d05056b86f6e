"""The routes, a module per noun. Each requires a grant, calls the service and renders."""
