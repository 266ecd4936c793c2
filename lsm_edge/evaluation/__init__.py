"""What a trained model is worth: accuracy, robustness, the liquid's own measures, and advice in plain words."""
