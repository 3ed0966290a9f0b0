/* feed: every file of a folder as one datagram to the core, under sanitizers.
 *
 *     build/tests/feed ike|natt|gre|esp DIR
 *
 * ike   UDP payload as it comes to port 500
 * natt  UDP payload as it comes to port 4500: marker and IKE, ESP, or keepalive
 * gre   from the GRE header on (raw socket, protocol 47)
 * esp   from the SPI on (raw socket, protocol 50)
 *
 * The world they meet stands in tests/fuzz/lib/core.h. One line per file says what became of it; the last line counts. A crash, a
 * sanitizer's report, or an answer that takes longer than SLOW_NS fails the run.
 */
#include "fuzz/lib/core.h"
#include "fuzz/lib/folder.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define SLOW_NS (500 * NS_PER_MS) /* 50 ms is the rule of a release build; sanitizers are slower */

enum kind { KIND_IKE, KIND_NATT, KIND_GRE, KIND_ESP };
static const char *const kind_words[] = {"ike", "natt", "gre", "esp"};

struct feed {
    struct core core;
    enum kind kind;
    struct path path;
    unsigned files, failed;
};

/* What counters moved, as words; an IKE datagram may count several. */
static void feed_ike(struct feed *f, struct span datagram, char *ret, size_t n)
{
    struct core *c = &f->core;
    uint64_t before[IKE_COUNT_END];
    for (unsigned k = 0; k < IKE_COUNT_END; k++)
        before[k] = ike_count(c->ike, k);
    core_ike(c, &f->path, datagram);
    size_t reply = 0, at = 0;
    for (size_t i = 0; i < c->acts.n; i++)
        if (c->acts.v[i].type == ACT_SEND)
            reply += c->acts.v[i].datagram.n;
    at += (size_t)snprintf(ret, n, "reply %zu", reply);
    for (unsigned k = 0; k < IKE_COUNT_END && at < n; k++)
        if (ike_count(c->ike, k) != before[k] && k != IKE_COUNT_RECEIVED && k != IKE_COUNT_SENT)
            at += (size_t)snprintf(ret + at, n - at, " %s", ike_count_name(k));
}

static void feed_dp(struct feed *f, enum pkt_from from, struct span datagram, char *ret, size_t n)
{
    struct core *c = &f->core;
    size_t at = 0;
    ret[0] = '\0';
    if (!core_packet(c, from, &f->path, datagram))
        snprintf(ret, n, "too large");
    for (size_t i = 0; i < c->n_out && at < n; i++) {
        const struct pkt *r = c->out[i];
        at += r->verdict == PKT_DROP ? (size_t)snprintf(ret + at, n - at, "drop %s ", dp_reason_name(r->reason))
                                     : (size_t)snprintf(ret + at, n - at, "pass %u octets ", r->len);
    }
}

static void feed_natt(struct feed *f, struct span datagram, char *ret, size_t n)
{
    struct rd r = rd_of(datagram);
    if (datagram.n == 1 && datagram.p[0] == 0xff)
        snprintf(ret, n, "keepalive");
    else if (datagram.n < 4)
        snprintf(ret, n, "drop short");
    else if (rd_u32(&r) == 0)
        feed_ike(f, rd_rest(&r), ret, n);
    else
        feed_dp(f, PKT_FROM_NATT, datagram, ret, n);
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void feed_file(void *ctx, const char *name, struct span bytes)
{
    struct feed *f = ctx;
    char what[512];
    uint64_t start = clock_ns();
    f->core.now += NS_PER_MS;
    switch (f->kind) {
    case KIND_IKE: feed_ike(f, bytes, what, sizeof what); break;
    case KIND_NATT: feed_natt(f, bytes, what, sizeof what); break;
    case KIND_GRE: feed_dp(f, PKT_FROM_GRE, bytes, what, sizeof what); break;
    case KIND_ESP: feed_dp(f, PKT_FROM_ESP, bytes, what, sizeof what); break;
    }
    core_done(&f->core);
    ike_tick(f->core.ike, f->core.now, &f->core.acts);
    core_done(&f->core);
    bool slow = clock_ns() - start > SLOW_NS;
    printf("%s: %zu octets: %s%s\n", name, bytes.n, what, slow ? " TOO SLOW" : "");
    f->files++;
    f->failed += slow;
}

int main(int argc, char **argv)
{
    static struct feed f;
    unsigned kind = 0;
    while (argc == 3 && kind < ARRAY_LEN(kind_words) && strcmp(argv[1], kind_words[kind]) != 0)
        kind++;
    if (argc != 3 || kind == ARRAY_LEN(kind_words)) {
        fprintf(stderr, "usage: feed ike|natt|gre|esp DIR\n");
        return 2;
    }
    f.kind = (enum kind)kind;
    f.path = core_path(kind == KIND_NATT ? PKT_FROM_NATT : PKT_FROM_ESP, kind == KIND_GRE ? "192.0.2.3" : "192.0.2.2");
    core_open(&f.core, kind == KIND_NATT);
    bool read = folder_each(argv[2], feed_file, &f);
    if (!read)
        fprintf(stderr, "feed: %s: %s\n", argv[2], strerror(errno));
    core_end(&f.core);
    printf("%u datagrams fed, %u failed\n", f.files, f.failed);
    return !read ? 2 : f.failed || !f.files;
}
