"""Personal data: the policy that a user configures, and its effect on pages."""
