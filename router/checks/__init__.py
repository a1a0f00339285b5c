"""What `router doctor` looks at: one module per thing that can be set up wrongly."""
