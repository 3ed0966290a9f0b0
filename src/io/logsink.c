/* One line per event on a descriptor, as text or as a JSON object.
 *
 * A line is written at once and is never longer than PIPE_BUF, so lines of several processes do not mix; a reader that does not
 * read costs lines (counted, told by the next line that goes out), never the daemon's time. What a peer sent appears as printable
 * ASCII, with \xNN for all else, in both formats. */
#include "adit/io.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define VALUE_MAX 512 /* octets of one field; the rest is cut and marked */
#define TAIL_ROOM 128 /* kept for what stands behind the fields */

struct io_logsink {
    int fd;
    bool json;
    bool journal; /* it takes the level from a prefix, and has a clock of its own */
    uint64_t lost;
};

static const struct {
    const char *name;
    char syslog;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", '3'},
    [LOG_LEVEL_WARN] = {"warn", '4'},
    [LOG_LEVEL_INFO] = {"info", '6'},
    [LOG_LEVEL_DEBUG] = {"debug", '7'},
};

/* ---- pieces of a line */

static void put(struct wr *w, const char *s)
{
    wr_bytes(w, span_str(s));
}

static void put_hex(struct wr *w, struct span s)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        wr_u8(w, (uint8_t)digits[s.p[i] >> 4]);
        wr_u8(w, (uint8_t)digits[s.p[i] & 15]);
    }
}

static void put_number(struct wr *w, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    put(w, text);
}

/* UTC, with milliseconds. */
static void put_time(struct wr *w)
{
    struct timespec now;
    struct tm tm;
    char text[32], ms[8];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ms, sizeof ms, ".%03dZ", (int)(now.tv_nsec / (long)NS_PER_MS));
    put(w, text);
    put(w, ms);
}

/* One octet between quotes. Ours may be UTF-8; a peer's backslash is doubled so that its \x41 is not taken for one of our own. */
static void put_octet(struct wr *w, uint8_t c, bool json, bool from_peer)
{
    if (c == '"') {
        put(w, "\\\"");
    } else if (c == '\\') {
        put(w, json && from_peer ? "\\\\\\\\" : "\\\\");
    } else if (c >= 0x20 && c != 0x7f && (c < 0x7f || !from_peer)) {
        wr_u8(w, c);
    } else {
        put(w, !json ? "\\x" : from_peer ? "\\\\x" : "\\u00");
        put_hex(w, span_of(&c, 1));
    }
}

static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("\"\\=", s.p[i]))
            return false;
    return s.n > 0;
}

/* Text is quoted where a reader could not tell where it ends, JSON always. */
static void put_text(struct wr *w, struct span s, bool json, bool from_peer)
{
    struct span shown = span_of(s.p, s.n < VALUE_MAX ? s.n : VALUE_MAX);
    bool quoted = json || shown.n < s.n || !is_plain(shown);
    if (quoted)
        wr_u8(w, '"');
    for (size_t i = 0; i < shown.n; i++)
        put_octet(w, shown.p[i], json, from_peer);
    if (shown.n < s.n)
        put(w, "...");
    if (quoted)
        wr_u8(w, '"');
}

static void put_value(struct wr *w, const struct log_field *f, bool json)
{
    char text[ENDPOINT_TEXT];
    switch (f->type) {
    case LOG_TYPE_U64: put_number(w, f->u); break;
    case LOG_TYPE_BOOL: put(w, f->u ? "true" : "false"); break;
    case LOG_TYPE_STR: put_text(w, span_str(f->str ? f->str : ""), json, false); break;
    case LOG_TYPE_BYTES: put_text(w, f->bytes, json, true); break;
    case LOG_TYPE_HEX:
        put(w, json ? "\"" : "");
        put_hex(w, span_of(f->bytes.p, f->bytes.n < VALUE_MAX / 2 ? f->bytes.n : VALUE_MAX / 2));
        put(w, f->bytes.n > VALUE_MAX / 2 ? "..." : "");
        put(w, json ? "\"" : "");
        break;
    case LOG_TYPE_ADDR: put_text(w, span_str(addr_text(&f->addr, text)), json, false); break;
    case LOG_TYPE_ENDPOINT: put_text(w, span_str(endpoint_text(&f->endpoint, text)), json, false); break;
    }
}

/* All of it or nothing. */
static bool put_field(struct wr *w, const struct log_field *f, bool json)
{
    const struct wr before = *w;
    put(w, json ? ",\"" : " ");
    put(w, f->key);
    put(w, json ? "\":" : "=");
    put_value(w, f, json);
    bool fits = !w->failed;
    if (!fits)
        *w = before;
    return fits;
}

/* ---- a line */

static void put_head(struct wr *w, const struct io_logsink *sink, const struct log_event *event)
{
    if (sink->journal) {
        wr_u8(w, '<');
        wr_u8(w, (uint8_t)levels[event->level].syslog);
        wr_u8(w, '>');
    }
    if (sink->json) {
        put(w, "{\"time\":\"");
        put_time(w);
        put(w, "\",\"level\":\"");
        put(w, levels[event->level].name);
        put(w, "\",\"event\":\"");
        put(w, event->name);
        put(w, "\"");
        return;
    }
    if (!sink->journal) {
        put_time(w);
        put(w, " ");
        put(w, levels[event->level].name);
        put(w, " ");
    }
    put(w, event->name);
}

static size_t make_line(const struct io_logsink *sink, const struct log_event *event, uint8_t ret[PIPE_BUF])
{
    const struct log_field cut = LOG_BOOL("cut", true), lost = LOG_U64("lost_lines", sink->lost),
                           suppressed = LOG_U64("suppressed", event->suppressed);
    struct wr w = wr_of(ret, PIPE_BUF - TAIL_ROOM);
    bool complete = true;
    put_head(&w, sink, event);
    for (size_t i = 0; i < event->n_fields; i++)
        complete &= put_field(&w, &event->fields[i], sink->json);
    w.end = ret + PIPE_BUF;
    if (!complete)
        put_field(&w, &cut, sink->json);
    if (event->suppressed)
        put_field(&w, &suppressed, sink->json);
    if (sink->lost)
        put_field(&w, &lost, sink->json);
    put(&w, sink->json ? "}\n" : "\n");
    return wr_len(&w);
}

void io_logsink_emit(void *ctx, const struct log_event *event)
{
    struct io_logsink *sink = ctx;
    uint8_t line[PIPE_BUF];
    struct pollfd room = {.fd = sink->fd, .events = POLLOUT};
    size_t n = make_line(sink, event, line);
    if (poll(&room, 1, 0) == 1 && room.revents & POLLOUT && write(sink->fd, line, n) == (ssize_t)n)
        sink->lost = 0;
    else
        sink->lost++;
}

/* ---- life */

/* systemd names the stream it gave us by device and inode (systemd.exec(5), JOURNAL_STREAM). */
static bool is_journal(int fd)
{
    const char *journal = getenv("JOURNAL_STREAM");
    char ours[48];
    struct stat st;
    if (!journal || fstat(fd, &st) < 0)
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(journal, ours) == 0;
}

enum rc io_logsink_new(int fd, bool json, struct io_logsink **ret)
{
    struct io_logsink *sink = calloc(1, sizeof *sink);
    if (!sink)
        return RC_NOMEM;
    *sink = (struct io_logsink){.fd = fd, .json = json, .journal = is_journal(fd)};
    *ret = sink;
    return RC_OK;
}

void io_logsink_free(struct io_logsink *sink)
{
    free(sink);
}

void io_logsink_set_json(struct io_logsink *sink, bool json)
{
    sink->json = json;
}
