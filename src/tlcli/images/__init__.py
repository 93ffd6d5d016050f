"""The one decoder, resizing, augmentation, and facts about image files."""
