"""What every stage that trains shares: settings, devices, the session, the loop."""
