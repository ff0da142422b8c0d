"""Who runs training: this process, torchrun's ranks, or Ray Train's."""
