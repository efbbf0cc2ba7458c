"""What the job `training_examples` is made of: who was shown what, and what a server would have known just before."""
