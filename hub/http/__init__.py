"""HTTP towards partners: sessions, authorization, and what a status code means for us. The only room that knows aiohttp's client."""
