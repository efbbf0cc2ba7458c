"""What scores with a fitted model: trees, calibration, the worth of outcomes, and the model as bytes."""
