/* secret: pre-shared keys and the files that hold secrets.
 *
 * A PSK that can be guessed lets anyone who recorded one handshake as a man in the middle try candidates offline, and hand out
 * access by guessing (RFC 7296 2.15 and 5: a PSK needs as much entropy as the strongest key it protects). Hence the bar of 20
 * characters and 128 bits. The estimate is an upper bound: it sees the pool of characters, runs, sequences and repetitions,
 * but knows no dictionary.
 */
#include <stdio.h>

#include "loader.h"
#include "value.h"

#define PSK_LENGTH_MIN 20u
#define PSK_BITS_MIN 128u
#define PSK_LENGTH_MAX 256u
#define ADVICE "generate one: openssl rand -base64 32"
#define REDACTED "<redacted>"

/* ---- estimate */

/* 64 * log2(n), rounded down, for 1 <= n < 2^26. */
static unsigned log2_64(uint64_t n)
{
    unsigned whole = 0;
    uint64_t x = n << 32; /* n as a fixed-point number with 32 bits behind the point */
    while (x >= UINT64_C(2) << 32) {
        x >>= 1;
        whole++;
    }
    unsigned log = whole * 64;
    for (unsigned bit = 32; bit; bit >>= 1) {
        x = (x >> 16) * (x >> 16); /* squaring doubles the logarithm: the next binary digit appears */
        if (x >= UINT64_C(2) << 32) {
            x >>= 1;
            log += bit;
        }
    }
    return log;
}

static bool in(uint8_t c, char first, char last)
{
    return c >= (uint8_t)first && c <= (uint8_t)last;
}

/* How many different characters the writer seems to have drawn from. */
static unsigned pool_of(struct span s)
{
    bool lower = false, upper = false, digit = false, mark = false, high = false, not_hex_lower = false,
         not_hex_upper = false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        lower |= in(c, 'a', 'z');
        upper |= in(c, 'A', 'Z');
        digit |= in(c, '0', '9');
        high |= c >= 0x80;
        mark |= c < 0x80 && !in(c, 'a', 'z') && !in(c, 'A', 'Z') && !in(c, '0', '9');
        not_hex_lower |= !in(c, '0', '9') && !in(c, 'a', 'f');
        not_hex_upper |= !in(c, '0', '9') && !in(c, 'A', 'F');
    }
    if (digit && !lower && !upper && !mark && !high)
        return 10;
    if (!not_hex_lower || !not_hex_upper)
        return 16;
    return (lower ? 26 : 0) + (upper ? 26 : 0) + (digit ? 10 : 0) + (mark ? 33 : 0) + (high ? 64 : 0);
}

static unsigned distinct_of(struct span s)
{
    bool seen[256] = {false};
    unsigned n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += !seen[s.p[i]];
        seen[s.p[i]] = true;
    }
    return n;
}

/* Length of the run (aaaa), sequence (abcd, 4321) or repetition of earlier text (hunter2hunter2) that starts at i; 1: none.
 * The thresholds keep a random key of 32 hexadecimal digits, exactly 128 bits, from failing by chance (< 0.2 %). */
#define RUN_MIN 5
#define REPEAT_MIN 6
static size_t predictable(struct span s, size_t i)
{
    size_t best = 1;
    for (int step = -1; step <= 1; step++) {
        size_t n = 1;
        while (i + n < s.n && s.p[i + n] == s.p[i + n - 1] + step)
            n++;
        if (n >= RUN_MIN && n > best)
            best = n;
    }
    for (size_t j = 0; j < i; j++) {
        size_t n = 0;
        while (i + n < s.n && s.p[j + n] == s.p[i + n])
            n++;
        if (n >= REPEAT_MIN && n > best)
            best = n;
    }
    return best;
}

struct psk_strength config_psk_strength(struct span text, bool hex)
{
    struct psk_strength s = {.length = (unsigned)(hex ? text.n / 2 : text.n)};
    if (!text.n)
        return s;
    /* A pool of which hardly anything is used was not drawn from at random; but where most characters came only once, it may be
     * far larger than what was seen of it. */
    uint64_t distinct = distinct_of(text);
    unsigned per_char = log2_64(pool_of(text)), by_distinct = log2_64((2 * distinct >= text.n ? 5 : 2) * distinct);
    if (per_char > by_distinct)
        per_char = by_distinct;
    unsigned total = 0;
    for (size_t i = 0; i < text.n;) {
        size_t n = predictable(text, i);
        /* A guesser needs the first character, where it comes from and how long it is. */
        unsigned cost = n > 1 ? per_char + log2_64(i + 3) + log2_64(n) : per_char;
        total += cost < per_char * n ? cost : (unsigned)(per_char * n);
        i += n;
    }
    s.bits = total / 64;
    return s;
}

/* ---- a secret's text */

static int hex_digit(uint8_t c)
{
    return in(c, '0', '9') ? c - '0' : in(c, 'a', 'f') ? c - 'a' + 10 : in(c, 'A', 'F') ? c - 'A' + 10 : -1;
}

static const char *decode_hex(struct loader *l, struct span digits, struct span *ret)
{
    uint8_t *bytes = config_arena_take(l->arena, digits.n / 2 + 1);
    if (!bytes)
        return "could not be kept: out of memory";
    if (digits.n % 2)
        return "has an odd number of hexadecimal digits; write two for each octet";
    for (size_t i = 0; i < digits.n; i++) {
        int d = hex_digit(digits.p[i]);
        if (d < 0)
            return "begins with 0x but is not hexadecimal; write digits and a to f, or another text";
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | d);
    }
    *ret = span_of(bytes, digits.n / 2);
    return NULL;
}

static bool is_hex(struct span text)
{
    return text.n >= 2 && text.p[0] == '0' && (text.p[1] == 'x' || text.p[1] == 'X');
}

/* Text of the configuration or a line of a file -> octets, into the configuration's arena. */
static const char *decode(struct loader *l, struct span text, struct span *ret)
{
    if (span_equal(text, span_str(REDACTED)))
        return "is redacted: this file is a dump; put the key back";
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < 0x20 || text.p[i] == 0x7f)
            return "holds a control character; write one line of text, or 0x and hexadecimal digits";
    if (text.n > PSK_LENGTH_MAX)
        return config_why(l, "is longer than %u characters; shorten it", PSK_LENGTH_MAX);
    if (is_hex(text))
        return decode_hex(l, span_of(text.p + 2, text.n - 2), ret);
    const char *copy = config_arena_text(l->arena, text);
    if (!copy)
        return "could not be kept: out of memory";
    *ret = span_of(copy, text.n);
    return NULL;
}

static const char *refuse_weak(struct loader *l, struct span text)
{
    bool hex = is_hex(text);
    struct psk_strength s = config_psk_strength(hex ? span_of(text.p + 2, text.n - 2) : text, hex);
    if (!hex && s.length < PSK_LENGTH_MIN)
        return config_why(
            l, "is weak: %u characters, about %u bits, where %u characters and %u bits are required; " ADVICE, s.length,
            s.bits, PSK_LENGTH_MIN, PSK_BITS_MIN);
    if (s.bits < PSK_BITS_MIN)
        return config_why(l, "is weak: about %u bits by estimate, where %u are required; " ADVICE, s.bits,
                          PSK_BITS_MIN);
    return NULL;
}

const char *config_read_secret(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f;
    struct span value;
    const char *why = decode(l, span_str(text), &value);
    if (!why)
        why = refuse_weak(l, span_str(text));
    if (!why)
        *(struct span *)ret = value;
    return why;
}

/* ---- files */

/* Relative to the folder of the configuration file. */
static const char *resolve(struct loader *l, const char *file)
{
    const char *slash = strrchr(l->path, '/');
    if (file[0] == '/' || !slash)
        return file;
    return config_why(l, "%.*s%s", (int)(slash + 1 - l->path), l->path, file);
}

static const char *refuse_access(struct loader *l, uint32_t mode, uint32_t uid, const char *file)
{
    if (mode & 077)
        return config_why(l, "has mode 0%o: others could read or replace it; chmod 0600 %s", mode & 07777, file);
    if (uid != 0 && uid != l->uid)
        return config_why(l, "belongs to user %u, neither root nor the owner of this file; chown it", uid);
    return NULL;
}

/* The one line of a secret file into *ret (borrowed from *ret_bytes). Returns why not. */
static const char *read_line(struct loader *l, const char *file, struct buf *ret_bytes, struct span *ret)
{
    uint32_t mode = 0, uid = 0;
    const char *path = resolve(l, file);
    enum rc rc = l->reader->read(l->reader->ctx, path, CONFIG_SECRET_FILE_MAX, ret_bytes, &mode, &uid);
    if (rc == RC_LIMIT)
        return config_why(l, "is larger than %u octets; it holds one line with the key", CONFIG_SECRET_FILE_MAX);
    if (rc == RC_ABSENT)
        return config_why(l, "does not exist (looked for %s); create it with mode 0600", path);
    if (rc != RC_OK)
        return config_why(l, "cannot be read (%s); it must be a regular file that this user may read", path);
    const char *why = refuse_access(l, mode, uid, path);
    if (why)
        return why;
    struct span text = buf_span(ret_bytes);
    if (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    if (text.n && text.p[text.n - 1] == '\r')
        text.n--;
    if (!text.n)
        return "is empty; write the key into its first line";
    *ret = text;
    return NULL;
}

/* The rows keep the value; weakness is the concern of PSKs only. */
static void read_psk_file(struct loader *l, const struct config_row *row, const char *who, const char *keyword,
                          const char *file, struct span *ret)
{
    struct buf bytes = {0};
    struct span text = {0}, value = {0};
    const char *why = read_line(l, file, &bytes, &text);
    if (!why)
        why = decode(l, text, &value);
    if (!why)
        why = refuse_weak(l, text);
    if (why)
        config_error(l, row, keyword, "%s%s %s %s", who, keyword, file, why);
    else
        *ret = value;
    buf_free(&bytes);
}

/* A secret that a later part of the daemon reads itself: is it there, and private? octets: what 0x... must hold; 0: anything. */
static void check_file(struct loader *l, const struct config_row *row, const char *where, const char *keyword,
                       const char *file, size_t octets)
{
    struct buf bytes = {0};
    struct span text = {0}, value;
    const char *why = file ? read_line(l, file, &bytes, &text) : NULL;
    if (file && !why && octets && (!is_hex(text) || decode(l, text, &value) || value.n != octets))
        why =
            config_why(l, "does not hold a key of %zu octets; write 0x and %zu hexadecimal digits", octets, 2 * octets);
    if (why)
        config_error(l, row, keyword, "%s%s %s %s", where, keyword, file, why);
    buf_free(&bytes);
}

static void read_cookie_secret(struct loader *l, struct config_ike *k)
{
    struct buf bytes = {0};
    struct span text = {0}, value = {0};
    const char *file = k->cookie_secret_file, *why = file ? read_line(l, file, &bytes, &text) : NULL;
    if (file && !why && (!is_hex(text) || decode(l, text, &value) || value.n != sizeof k->cookie_secret))
        why = "does not hold a secret of 32 octets; write 0x and 64 hexadecimal digits";
    if (why)
        config_error(l, &k->row, "cookie_secret_file", "ike.cookie_secret_file %s %s", file, why);
    struct wr w = wr_of(k->cookie_secret, sizeof k->cookie_secret);
    wr_bytes(&w, why ? span_of(NULL, 0) : value);
    buf_free(&bytes);
}

static void read_tunnel(struct loader *l, struct config_tunnel *t)
{
    const char *who = config_why(l, "tunnel %s: ", t->name ? t->name : "?");
    if (t->psk_file && t->psk.n) {
        config_error(l, &t->row, "psk_file", "%sboth psk and psk_file are given; keep one", who);
        return;
    }
    if (t->psk_file) {
        struct config_psk *psk = config_arena_take(l->arena, sizeof *psk);
        if (!psk)
            return;
        psk->row = (struct config_row){.line = t->row.line, .col = t->row.col};
        read_psk_file(l, &t->row, who, "psk_file", t->psk_file, &psk->value);
        t->psk = (struct config_psks){.v = psk, .n = 1};
        return;
    }
    CONFIG_EACH(struct config_psk, p, t->psk)
    {
        bool value = p->row.set & CONFIG_BIT(0), file = p->row.set & CONFIG_BIT(1);
        if (value == file)
            config_error(l, &p->row, "file", "%sa key of psk needs either value or file%s", who,
                         value ? ", not both" : "");
        else if (p->file)
            read_psk_file(l, &p->row, who, "file", p->file, &p->value);
    }
}

void config_secrets_read(struct loader *l, struct config *c)
{
    const struct config_fleet *f = &c->fleet;
    if (l->inline_secret && (l->mode & 077))
        config_report_add(l->report, CONFIG_ERROR, l->inline_secret->line, l->inline_secret->col,
                          "a secret stands in this file, whose mode is 0%o: others could read or replace it; "
                          "chmod 0600 %s, or use psk_file",
                          l->mode & 07777, l->path);
    else if (l->mode & 002)
        config_report_add(l->report, CONFIG_ERROR, 1, 1,
                          "this file has mode 0%o: every user of the machine could change it; chmod o-w %s",
                          l->mode & 07777, l->path);
    read_cookie_secret(l, &c->ike);
    CONFIG_EACH_TUNNEL(c, a, t)
    read_tunnel(l, t);
    CONFIG_EACH(const struct config_kek, k, f->kek)
    check_file(l, &k->row, "fleet.kek.", "file", k->file, 32);
    check_file(l, &f->row, "fleet.", "node_key_file", f->node_key_file, 0);
    check_file(l, &f->etcd.row, "fleet.etcd.", "key_file", f->etcd.key_file, 0);
    check_file(l, &f->etcd.row, "fleet.etcd.", "password_file", f->etcd.password_file, 0);
}
