"""What the page draws: one function per view, which receives the services and the session."""
