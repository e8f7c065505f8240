"""What the page draws: one function a view, given the services and the session."""
