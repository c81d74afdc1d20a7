"""An examination (model.examination) as JSON document, and that document as text."""
