"""The live session, and the text and audio that it keeps."""
