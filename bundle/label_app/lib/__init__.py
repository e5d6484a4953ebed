"""Parts of the MONAI Label app; they know MONAI Label, ``scripts`` does not."""
