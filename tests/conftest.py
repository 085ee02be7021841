"""Its being here puts tests/ on the import path, so that tests in subfolders can import `dicom_builder`."""
