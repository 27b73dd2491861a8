"""What search needs beside chats: vectors for texts, and the order of documents by relevance."""
