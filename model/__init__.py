"""What the networks are: tables of rows, and what is made of them. No command lines."""
