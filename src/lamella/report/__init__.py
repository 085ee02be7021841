"""Pictures of results: `render_preview` draws thick, interpolated and thin side by side."""
