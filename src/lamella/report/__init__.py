"""Pictures of results: `render_preview` shows thick, interpolated and thin side by side."""

from lamella.machine.extras import require

require("report", "A picture or a page")
