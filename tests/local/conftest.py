from tests.fixtures_redis import redis_client, redis_server

__all__ = ["redis_client", "redis_server"]
