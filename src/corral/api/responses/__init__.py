"""OpenAI's Responses API: `/v1/responses`, and the answers that the server keeps."""
