"""What each job of a scale needs, from models' configurations and corpora's token counts."""
