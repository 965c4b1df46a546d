"""Windows, pages and cursors: what to ask a service for, and how far it has been read."""
