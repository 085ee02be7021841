"""A DICOM node: receives studies, thins what its rules choose, sends the results to named peers.

`receive` (network -> files) -> `closing` (a study is whole) -> `dispatch` and `worker` (another process thins) -> `send`.
`states` is the only code that moves a study from folder to folder; `http` shows it, `serve` starts it all.
"""
