"""What a browser asks for: the routes, their description, and the files of the element."""
