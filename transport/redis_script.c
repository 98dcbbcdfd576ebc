#include "transport/redis_script.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* While nothing is known about sizes messages leave a list one by one, then a few at a time; what
 * is too much goes back to where it was. A record is what kombu's is, so that a Python worker's
 * sweep finds its way: default exchange, queue as routing key. A script does not roll back: when
 * the records are refused (a key of another type, a user without the right), the messages go back.
 */
static const char take[] =
	"local id, left, room, most = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), "
	"tonumber(ARGV[6])\n"
	"local prefix, seq, fair, nq = id .. ':', tonumber(ARGV[3]), ARGV[7] == '1', "
	"tonumber(ARGV[8])\n"
	"local number = redis.call('ZSCORE', KEYS[3], id)\n"
	"if not number or math.floor(number / 4294967296) ~= tonumber(ARGV[2]) then return false "
	"end\n"
	"local t = redis.call('TIME')\n"
	"local now = t[1] .. '.' .. string.format('%06d', t[2])\n"
	"local out, hset, zadd, from = {{}}, {}, {}, {}\n"
	"local largest, full, failed = 0, false, nil\n"
	"local function set_aside(q, m)\n"
	"  local r = redis.pcall('LPUSH', KEYS[3 + q], m)\n"
	"  if type(r) ~= 'number' then\n"
	"    failed = r\n"
	"    return false\n"
	"  end\n"
	"  redis.pcall('LTRIM', KEYS[3 + q], 0, 99)\n"
	"  redis.pcall('EXPIRE', KEYS[3 + q], 604800)\n"
	"  local report = out[1]\n"
	"  report[#report + 1] = q - 1\n"
	"  report[#report + 1] = #m\n"
	"  left = left - 1\n"
	"  return true\n"
	"end\n"
	"local function is_object(m)\n"
	"  if m:sub(1, 1) == '{' and m:sub(-1) == '}' then return true end\n"
	"  return m:find('^%s*{') and m:find('}%s*$')\n"
	"end\n"
	"local function keep(key, q, m)\n"
	"  local field = prefix .. string.format('%.0f', seq)\n"
	"  seq = seq + 1\n"
	"  hset[#hset + 1] = field\n"
	"  hset[#hset + 1] = '[' .. m .. ARGV[8 + q]\n"
	"  zadd[#zadd + 1] = now\n"
	"  zadd[#zadd + 1] = field\n"
	"  from[#from + 1] = key\n"
	"  out[#out + 1] = q - 1\n"
	"  out[#out + 1] = m\n"
	"  left, room = left - 1, room - #m\n"
	"  if #m > largest then largest = #m end\n"
	"end\n"
	"local function return_rest(key, popped, i)\n"
	"  for j = #popped, i, -1 do redis.call('RPUSH', key, popped[j]) end\n"
	"end\n"
	"local function take_from(key, q, share)\n"
	"  while share > 0 and left > 0 do\n"
	"    local n = 1\n"
	"    if largest > 0 then\n"
	"      n = math.max(1, math.min(64, share, left, math.floor(room / largest)))\n"
	"    end\n"
	"    local popped = redis.pcall('RPOP', key, n)\n"
	"    if not popped then return true end\n"
	"    if popped.err then failed = popped return true end\n"
	"    for i, m in ipairs(popped) do\n"
	"      if #m > most or not is_object(m) then\n"
	"        if not set_aside(q, m) then\n"
	"          return_rest(key, popped, i)\n"
	"          return true\n"
	"        end\n"
	"      elseif #m > room and #out > 1 then\n"
	"        return_rest(key, popped, i)\n"
	"        full = true\n"
	"        return false\n"
	"      else\n"
	"        keep(key, q, m)\n"
	"      end\n"
	"      share = share - 1\n"
	"    end\n"
	"    if room <= 0 then full = true return false end\n"
	"  end\n"
	"  return false\n"
	"end\n"
	"for first = 3 + nq + 1, #KEYS, nq do\n"
	"  local more, empty = true, {}\n"
	"  while more and left > 0 and not full do\n"
	"    more = false\n"
	"    local share = fair and math.max(1, math.floor(left / nq)) or left\n"
	"    for q = 1, nq do\n"
	"      if not empty[q] and left > 0 and not full then\n"
	"        empty[q] = take_from(KEYS[first + q - 1], q, share)\n"
	"        more = more or not empty[q]\n"
	"      end\n"
	"    end\n"
	"  end\n"
	"end\n"
	"if #hset > 0 then\n"
	"  local r = redis.pcall('HSET', KEYS[1], unpack(hset))\n"
	"  if type(r) == 'number' then r = redis.pcall('ZADD', KEYS[2], unpack(zadd)) end\n"
	"  if type(r) ~= 'number' then\n"
	"    for i = #from, 1, -1 do redis.call('RPUSH', from[i], out[2 * i + 1]) end\n"
	"    for i = 1, #hset, 2 do redis.pcall('HDEL', KEYS[1], hset[i]) end\n"
	"    return r\n"
	"  end\n"
	"end\n"
	"if failed and #out == 1 and #out[1] == 0 then return failed end\n"
	"return out\n";

static const char read_records[] = "local room, out = tonumber(ARGV[1]), {}\n"
				   "for i = 2, #ARGV do\n"
				   "  local size = redis.call('HSTRLEN', KEYS[1], ARGV[i])\n"
				   "  if i > 2 and size > room then break end\n"
				   "  room = room - size\n"
				   "  local record = redis.call('HGET', KEYS[1], ARGV[i])\n"
				   "  if not record then redis.call('ZREM', KEYS[2], ARGV[i]) end\n"
				   "  out[i - 1] = record\n"
				   "end\n"
				   "return out\n";

/* Those of one list, one after the other, go there at once; what fails keeps its records. */
static const char put_back[] =
	"redis.call('ZREM', KEYS[2], '')\n"
	"local n, failed, messages, gone = 0, nil, {}, {}\n"
	"local function push(key, side)\n"
	"  local r = redis.pcall(side .. 'PUSH', key, unpack(messages))\n"
	"  messages = {}\n"
	"  if type(r) ~= 'number' then\n"
	"    failed, gone = r, {}\n"
	"    return false\n"
	"  end\n"
	"  if #gone > 0 then\n"
	"    redis.call('HDEL', KEYS[1], unpack(gone))\n"
	"    redis.call('ZREM', KEYS[2], unpack(gone))\n"
	"    gone = {}\n"
	"  end\n"
	"  return true\n"
	"end\n"
	"local last, is_there\n"
	"for i = 3, #KEYS do\n"
	"  local at = (i - 3) * 3\n"
	"  local field, side = ARGV[at + 1], ARGV[at + 3]\n"
	"  local key, is_last = KEYS[i], ARGV[at + 4] ~= field\n"
	"  if field ~= last then\n"
	"    last, is_there = field, redis.call('HEXISTS', KEYS[1], field) == 1\n"
	"    if is_there then n = n + 1 end\n"
	"  end\n"
	"  if is_there then\n"
	"    messages[#messages + 1] = ARGV[at + 2]\n"
	"    if is_last then gone[#gone + 1] = field end\n"
	"  end\n"
	"  if #messages > 0 and (KEYS[i + 1] ~= key or ARGV[at + 6] ~= side or not is_last or\n"
	"      #messages >= 1000) then\n"
	"    if not push(key, side) then is_there = false end\n"
	"  end\n"
	"end\n"
	"return failed or n\n";

static const char set_aside[] = "local n = redis.call('HDEL', KEYS[1], ARGV[1])\n"
				"redis.call('ZREM', KEYS[2], ARGV[1])\n"
				"if n == 1 then\n"
				"  redis.call('LPUSH', KEYS[3], ARGV[2])\n"
				"  redis.call('LTRIM', KEYS[3], 0, 99)\n"
				"  redis.call('EXPIRE', KEYS[3], 604800)\n"
				"end\n"
				"return n\n";

static const char renew[] = "redis.call('ZREM', KEYS[1], '')\n"
			    "local t = redis.call('TIME')\n"
			    "local now, args = t[1] .. '.' .. string.format('%06d', t[2]), {}\n"
			    "for i = 1, #ARGV do\n"
			    "  args[2 * i - 1] = now\n"
			    "  args[2 * i] = ARGV[i]\n"
			    "end\n"
			    "return redis.call('ZADD', KEYS[1], 'XX', 'CH', unpack(args))\n";

static const char live[] =
	"redis.call('ZREM', KEYS[1], '')\n"
	"local was = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0\n"
	"local dead = redis.call('ZSCORE', KEYS[1], 'dead:' .. ARGV[1]) and 1 or 0\n"
	"if dead == 0 then redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1]) end\n"
	"local out = redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES')\n"
	"table.insert(out, 1, dead)\n"
	"table.insert(out, 1, was)\n"
	"return out\n";

static const char bury[] =
	"if (redis.call('ZSCORE', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end\n"
	"redis.call('ZREM', KEYS[1], ARGV[1])\n"
	"local number = ARGV[2] == '' and '0' or ARGV[2]\n"
	"return redis.call('ZADD', KEYS[1], number, 'dead:' .. ARGV[1])\n";

static const char expired[] =
	"if not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return false end\n"
	"local t = redis.call('TIME')\n"
	"local ceil = t[1] + t[2] / 1000000 - ARGV[3]\n"
	"if ARGV[4] == '0' then\n"
	"  return redis.call('ZRANGE', KEYS[2], 0, ceil, 'BYSCORE', 'LIMIT', 0, 1000)\n"
	"end\n"
	"return redis.call('ZRANGE', KEYS[2], ceil, 0, 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[4])\n";

static const char unlock[] = "if redis.call('GET', KEYS[1]) == ARGV[1] then\n"
			     "  return redis.call('DEL', KEYS[1])\n"
			     "end\n"
			     "return 0\n";

static const char bind_until[] = "redis.call('SADD', KEYS[1], ARGV[1])\n"
				 "local t = redis.call('TIME')\n"
				 "local ms = t[1] * 1000 + math.floor(t[2] / 1000)\n"
				 "redis.call('ZADD', KEYS[2], 'GT', ms + ARGV[3], ARGV[2])\n"
				 "return 1\n";

static const char unbind[] = "redis.call('SREM', KEYS[1], ARGV[1])\n"
			     "redis.call('SREM', KEYS[2], ARGV[1])\n"
			     "if redis.call('EXISTS', KEYS[1]) == 0 then\n"
			     "  redis.call('ZREM', KEYS[3], ARGV[2])\n"
			     "end\n"
			     "for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end\n"
			     "return 1\n";

/* One that is refused does not keep back those behind it. */
static const char publish[] =
	"local last = redis.call('GET', KEYS[1])\n"
	"if last and tonumber(last) >= tonumber(ARGV[1]) then return 0 end\n"
	"local bad = {}\n"
	"for i = 2, #KEYS do\n"
	"  local r = redis.pcall('LPUSH', KEYS[i], ARGV[i + 1])\n"
	"  if type(r) == 'table' and r.err then\n"
	"    bad[#bad + 1] = i - 2\n"
	"    bad[#bad + 1] = r.err\n"
	"  end\n"
	"end\n"
	"if #bad < 2 * (#KEYS - 1) then redis.pcall('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end\n"
	"return #bad > 0 and bad or 0\n";

static const char reply_to[] = "if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then\n"
			       "  return redis.call('SCARD', KEYS[1]) > 10000 and -1 or 0\n"
			       "end\n"
			       "redis.call('LPUSH', KEYS[2], ARGV[2])\n"
			       "redis.call('PEXPIRE', KEYS[2], ARGV[3])\n"
			       "return 1\n";

static const char post_to[] = "local left = redis.call('PTTL', KEYS[1])\n"
			      "redis.call('LPUSH', KEYS[1], ARGV[1])\n"
			      "if left ~= -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end\n"
			      "return 1\n";

static const char reap[] = "local left = redis.call('PTTL', KEYS[1])\n"
			   "if ARGV[3] == '1' or (left >= 0 and left <= tonumber(ARGV[2])) then\n"
			   "  redis.call('SREM', KEYS[2], ARGV[1])\n"
			   "  redis.call('SREM', KEYS[3], ARGV[1])\n"
			   "  redis.call('DEL', KEYS[1])\n"
			   "  return 1\n"
			   "end\n"
			   "return 0\n";

static const char table[] = "local n = redis.call('SCARD', KEYS[1])\n"
			    "if n > tonumber(ARGV[1]) then return n end\n"
			    "return redis.call('SMEMBERS', KEYS[1])\n";

static const char *const texts[REDIS_SCRIPT_COUNT] = {
	[REDIS_SCRIPT_TAKE] = take,	    [REDIS_SCRIPT_READ] = read_records,
	[REDIS_SCRIPT_PUT_BACK] = put_back, [REDIS_SCRIPT_SET_ASIDE] = set_aside,
	[REDIS_SCRIPT_RENEW] = renew,	    [REDIS_SCRIPT_LIVE] = live,
	[REDIS_SCRIPT_BURY] = bury,	    [REDIS_SCRIPT_EXPIRED] = expired,
	[REDIS_SCRIPT_UNLOCK] = unlock,	    [REDIS_SCRIPT_BIND] = bind_until,
	[REDIS_SCRIPT_UNBIND] = unbind,	    [REDIS_SCRIPT_PUBLISH] = publish,
	[REDIS_SCRIPT_REPLY] = reply_to,    [REDIS_SCRIPT_POST] = post_to,
	[REDIS_SCRIPT_REAP] = reap,	    [REDIS_SCRIPT_TABLE] = table,
};

/* Not often called: their text goes along each time, so that a server that forgot its scripts
 * (SCRIPT FLUSH) does not cost what nobody would send again. */
static bool is_rare(enum redis_script script)
{
	return script == REDIS_SCRIPT_BURY || script == REDIS_SCRIPT_UNLOCK ||
	       script == REDIS_SCRIPT_BIND || script == REDIS_SCRIPT_UNBIND ||
	       script == REDIS_SCRIPT_POST || script == REDIS_SCRIPT_REAP ||
	       script == REDIS_SCRIPT_TABLE;
}

void redis_scripts_init(struct redis_scripts *s)
{
	for (int i = 0; i < REDIS_SCRIPT_COUNT; i++) {
		unsigned char hash[EVP_MAX_MD_SIZE] = {0};

		/* Redis names a script by this digest; nothing depends on it being strong. */
		EVP_Digest(texts[i], strlen(texts[i]), hash, NULL, EVP_sha1(), NULL);
		for (int byte = 0; byte < 20; byte++)
			snprintf(s->digest[i] + 2 * (size_t)byte, 3, "%02x", hash[byte]);
	}
	redis_scripts_reset(s);
}

void redis_scripts_reset(struct redis_scripts *s)
{
	for (int i = 0; i < REDIS_SCRIPT_COUNT; i++)
		s->needs_text[i] = true;
}

int redis_script_call(struct redis_scripts *s, struct redis_conn *conn, enum redis_script script,
		      struct redis_arg *args, int argc, redis_conn_reply_fn *fn, void *ctx)
{
	if (s->needs_text[script] || is_rare(script)) {
		args[0] = REDIS_ARG("EVAL");
		args[1] = (struct redis_arg){texts[script], strlen(texts[script])};
	} else {
		args[0] = REDIS_ARG("EVALSHA");
		args[1] = (struct redis_arg){s->digest[script], 40};
	}
	if (redis_conn_command(conn, args, argc, fn, ctx) < 0)
		return -1;
	s->needs_text[script] = false;
	return 0;
}

int redis_script_ask_table(struct redis_scripts *s, struct redis_conn *conn, const char *key,
			   redis_conn_reply_fn *fn, void *ctx)
{
	char most[16];
	struct redis_arg args[] = {{0}, {0}, REDIS_ARG("1"), {key, strlen(key)}, {most, 0}};

	args[4].len = (size_t)snprintf(most, sizeof(most), "%d", REDIS_TABLE_MOST);
	return redis_script_call(s, conn, REDIS_SCRIPT_TABLE, args, 5, fn, ctx);
}

bool redis_script_is_gone(struct redis_scripts *s, enum redis_script script,
			  const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOSCRIPT", 8) != 0)
		return false;
	s->needs_text[script] = true;
	return true;
}
