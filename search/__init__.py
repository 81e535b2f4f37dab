"""What to try next and how good it was: spaces, targets, studies. Knows Optuna, never Ray or MLflow."""
