"""Named draws: a model's own initialization code, with draws by parameter name."""
