"""SOURCE, whatever it is: DICOM or NIfTI, told by content."""
