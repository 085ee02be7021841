"""Training: thin Lightning modules. No mathematics here; the losses live with what they train."""
