"""PDF files with headings, texts and tables."""
