"""What people see: command lines, tables, bars, plots, boxes on pictures."""
