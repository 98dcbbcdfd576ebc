#include "backend/redis_scripts.h"

#include <string.h>

/* The first SET is all that it takes when no key was there. Otherwise only the first bytes of the
 * old record cross into Lua, unless somebody else wrote it or it may be our own. What is no JSON
 * (compressed, or of another serializer) cannot be read there: the answer 2 leaves it to us. */
#define STORE                                                                                      \
	"local key, record, ttl = KEYS[1], ARGV[1], ARGV[2]\n"                                     \
	"local is_new\n"                                                                           \
	"if ttl == '0' then is_new = redis.call('SET', key, record, 'NX')\n"                       \
	"else is_new = redis.call('SET', key, record, 'EX', ttl, 'NX') end\n"                      \
	"if not is_new then\n"                                                                     \
	"  local old = redis.call('GETRANGE', key, 0, 19)\n"                                       \
	"  local is_kept = old == '{\"status\": \"SUCCESS\"'\n"                                    \
	"  if ARGV[3] or string.sub(old, 1, 12) ~= '{\"status\": \"' then\n"                       \
	"    local ok, meta = pcall(cjson.decode, redis.call('GET', key))\n"                       \
	"    if not ok then return 2 end\n"                                                        \
	"    local s = type(meta) == 'table' and meta.status\n"                                    \
	"    is_kept = s == 'SUCCESS'\n"                                                           \
	"    if ARGV[3] then\n"                                                                    \
	"      is_kept = s ~= 'PENDING' and s ~= 'RECEIVED' and s ~= 'RETRY' and s ~= "            \
	"'REJECTED'\n"                                                                             \
	"    end\n"                                                                                \
	"  end\n"                                                                                  \
	"  if is_kept then\n"                                                                      \
	"    if redis.call('STRLEN', key) ~= #record then return 0 end\n"                          \
	"    if redis.call('GET', key) ~= record then return 0 end\n"                              \
	"  elseif ttl == '0' then redis.call('SET', key, record)\n"                                \
	"  else redis.call('SETEX', key, ttl, record) end\n"                                       \
	"end\n"                                                                                    \
	"redis.call('PUBLISH', key, record)\n"                                                     \
	"return 1\n"

/* A part ends. Whoever reports one twice counts once, and the first result stays; once the body is
 * sent nothing is recorded. Who finds the chord complete sends the body, alone, for as long as its
 * token lasts; a repeat of the same report knows its token again, any other has to wait until that
 * is over (2): the worker may have died. Mirrors celery/backends/redis.py,
 * CHORD_PART_RETURN_LUA, besides: the size may come from the message, and short chords are answered
 * at once. */
#define CHORD_PART                                                                                 \
	"local jkey, tkey, skey, dkey, gkey, ckey = unpack(KEYS)\n"                                \
	"local place, size = ARGV[3], tonumber(ARGV[4])\n"                                         \
	"if redis.call('GET', ckey) == 'done' then return {-1, 0} end\n"                           \
	"if redis.call('SADD', dkey, ARGV[1]) == 1 then\n"                                         \
	"  if place ~= '' then redis.call('ZADD', jkey, place, ARGV[2])\n"                         \
	"  else redis.call('RPUSH', jkey, ARGV[2]) end\n"                                          \
	"  if size > 0 then redis.call('SET', skey, size, 'NX') end\n"                             \
	"end\n"                                                                                    \
	"local count\n"                                                                            \
	"if place ~= '' then count = redis.call('ZCARD', jkey)\n"                                  \
	"else count = redis.call('LLEN', jkey) end\n"                                              \
	"if ARGV[5] ~= '0' then\n"                                                                 \
	"  for i = 1, 4 do redis.call('EXPIRE', KEYS[i], ARGV[5]) end\n"                           \
	"  if ARGV[6] ~= '0' then redis.call('EXPIRE', gkey, ARGV[6]) end\n"                       \
	"end\n"                                                                                    \
	"size = tonumber(redis.call('GET', skey))\n"                                               \
	"if not size or count ~= size + tonumber(redis.call('GET', tkey) or 0) then\n"             \
	"  return {count, 0}\n"                                                                    \
	"end\n"                                                                                    \
	"if not redis.call('SET', ckey, ARGV[9], 'NX', 'EX', ARGV[7]) and\n"                       \
	"   redis.call('GET', ckey) ~= ARGV[9] then\n"                                             \
	"  return {count, 2}\n"                                                                    \
	"end\n"                                                                                    \
	"local first = tonumber(ARGV[10])\n"                                                       \
	"if count <= first then redis.call('EXPIRE', ckey, ARGV[8]) end\n"                         \
	"local read = place ~= '' and 'ZRANGE' or 'LRANGE'\n"                                      \
	"return {count, 1, redis.call('GET', gkey), redis.call(read, jkey, 0, first - 1)}\n"

/* Before the body is sent: is it still this worker's to send? CHORD_CLAIM_EXTEND_LUA. */
#define CHORD_EXTEND                                                                               \
	"local owner = redis.call('GET', KEYS[1])\n"                                               \
	"if owner == ARGV[1] or (not owner and redis.call('EXISTS', KEYS[2]) == 1) then\n"         \
	"  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])\n"                                   \
	"  return 1\n"                                                                             \
	"end\n"                                                                                    \
	"return 0\n"

/* CHORD_CLEANUP_LUA. After an error only the size goes, so that a late part does not fail the chord
 * again. */
#define CHORD_END                                                                                  \
	"if ARGV[2] == '' then return redis.call('DEL', KEYS[4]) end\n"                            \
	"if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"                             \
	"redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])\n"                                  \
	"redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])\n"                                      \
	"return 1\n"

/* One more part, once however often it is said. */
#define CHORD_ADD                                                                                  \
	"if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end\n"                         \
	"redis.call('INCR', KEYS[2])\n"                                                            \
	"if ARGV[2] ~= '0' then\n"                                                                 \
	"  redis.call('EXPIRE', KEYS[1], ARGV[2])\n"                                               \
	"  redis.call('EXPIRE', KEYS[2], ARGV[2])\n"                                               \
	"end\n"                                                                                    \
	"return 1\n"

const char *const redis_script_text[REDIS_SCRIPT_COUNT] = {
	[REDIS_SCRIPT_STORE] = STORE,
	[REDIS_SCRIPT_CHORD_PART] = CHORD_PART,
	[REDIS_SCRIPT_CHORD_EXTEND] = CHORD_EXTEND,
	[REDIS_SCRIPT_CHORD_END] = CHORD_END,
	[REDIS_SCRIPT_CHORD_ADD] = CHORD_ADD,
};

static void load_next(struct redis_script_names *names);

static void on_loaded(void *ctx, const redisReply *reply)
{
	struct redis_script_names *names = ctx;

	if (reply == NULL)
		return;
	if (reply->type != REDIS_REPLY_STRING || reply->len >= sizeof(names->sha[0])) {
		names->done(names->ctx, reply->type == REDIS_REPLY_ERROR ? reply->str : "");
		return;
	}
	memcpy(names->sha[names->loaded++], reply->str, reply->len + 1);
	if (names->loaded < REDIS_SCRIPT_COUNT)
		load_next(names);
	else
		names->done(names->ctx, NULL);
}

static void load_next(struct redis_script_names *names)
{
	const char *text = redis_script_text[names->loaded];
	const struct redis_arg args[] = {
		REDIS_ARG("SCRIPT"),
		REDIS_ARG("LOAD"),
		{text, strlen(text)},
	};

	redis_conn_command(names->conn, args, 3, on_loaded, names);
}

void redis_scripts_load(struct redis_script_names *names, struct redis_conn *conn,
			redis_scripts_done_fn *done, void *ctx)
{
	names->loaded = 0;
	names->conn = conn;
	names->done = done;
	names->ctx = ctx;
	load_next(names);
}
