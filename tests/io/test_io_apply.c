/* A reload that fails in the middle: each allocation of it fails once, and whatever was done by then is undone. Nothing else can stop one
 * there, since what could be refused is checked before. starve.h is in front of the allocator. */
#include "../unit/lib/starve.h"
#include "lib/place.h"

#include "adit/wire_ip.h"
#include "daemon/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- two configurations that differ in everything a reload follows ------------------------------- */

#define IPSEC "type: ipsec, endpoint: 198.51.100.2, psk: \"a pre-shared key of sufficient length\""
static const char before_text[] =
    "endpoints: [198.51.100.2]\n"
    "log: {level: error}\n"
    "ike: {identity_domain: example.net}\n"
    "accounts:\n"
    "  - id: \"1\"\n"
    "    name: one\n"
    "    device: one0\n"
    "    tunnels:\n"
    "      - {name: stays, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.1, interface_address: 10.255.0.0/31}\n"
    "      - {name: changes, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.2, mtu: 1300}\n"
    "      - {name: goes, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.3}\n"
    "      - {name: swaps, " IPSEC ", id: 00000000000000000000000000000001, customer_endpoint: 192.0.2.5}\n"
    "      - {name: swops, " IPSEC ", id: 00000000000000000000000000000002, customer_endpoint: 192.0.2.6}\n"
    "    routes:\n"
    "      - {prefix: 10.1.0.0/16, tunnel: stays}\n"
    "      - {prefix: 10.2.0.0/16, tunnel: changes}\n"
    "      - {prefix: 10.3.0.0/16, tunnel: goes}\n"
    "      - {prefix: 10.4.0.0/16, tunnel: swaps}\n"
    "  - id: \"3\"\n"
    "    name: three\n"
    "    device: three0\n"
    "    tunnels:\n"
    "      - {name: other, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.8}\n"
    "    routes:\n"
    "      - {prefix: 10.8.0.0/16, tunnel: other}\n";
static const char after_text[] =
    "endpoints: [198.51.100.2, 198.51.100.3]\n"
    "log: {level: error}\n"
    "ike: {identity_domain: example.net, max_half_open: 100}\n"
    "accounts:\n"
    "  - id: \"1\"\n"
    "    name: one\n"
    "    device: three0\n"
    "    tunnels:\n"
    "      - {name: stays, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.1, interface_address: 10.255.0.0/31}\n"
    "      - {name: changes, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.4, ttl: 9}\n"
    "      - {name: swaps, " IPSEC ", id: 00000000000000000000000000000001, customer_endpoint: 192.0.2.6}\n"
    "      - {name: swops, " IPSEC ", id: 00000000000000000000000000000002, customer_endpoint: 192.0.2.5}\n"
    "      - {name: comes, type: gre, endpoint: 198.51.100.3, customer_endpoint: 192.0.2.3, interface_address: 10.255.0.2/31}\n"
    "    routes:\n"
    "      - {prefix: 10.1.0.0/16, tunnel: comes}\n"
    "      - {prefix: 10.2.0.0/16, tunnel: changes, priority: 7}\n"
    "      - {prefix: 10.5.0.0/16, tunnel: swaps}\n"
    "  - id: \"3\"\n"
    "    name: three\n"
    "    device: one0\n"
    "    tunnels:\n"
    "      - {name: other, type: gre, endpoint: 198.51.100.2, customer_endpoint: 192.0.2.8}\n"
    "    routes:\n"
    "      - {prefix: 10.8.0.0/16, tunnel: other}\n"
    "  - id: \"2\"\n"
    "    name: two\n"
    "    device: two0\n"
    "    tunnels:\n"
    "      - {name: new, type: gre, endpoint: 198.51.100.3, customer_endpoint: 192.0.2.9}\n"
    "    routes:\n"
    "      - {prefix: 10.9.0.0/16, tunnel: new}\n";

struct stage {
    char folder[64], path[2][80];
    struct daemon *d;
};

static struct config *load(const char *path)
{
    struct config_reader reader = {.read = io_file_read};
    struct config_report report = {0};
    struct config *c = NULL;
    char text[512];
    if (config_load(&reader, path, &report, &c) != RC_OK &&
        config_report_line(&report, path, 0, text, sizeof text) == RC_OK)
        fail_msg("%s", text);
    config_report_free(&report);
    assert_non_null(c);
    return c;
}

static void write_text(const struct stage *s, const char *path, const char *rest)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fprintf(f, "version: 1\ncontrol: {path: %s/socket}\n%s", s->folder, rest) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static int stage_open(void **state)
{
    static struct stage s;
    struct io_error e = {""};
    if (!*state || access("/dev/net/tun", R_OK | W_OK) != 0 || geteuid() != 0) {
        *state = NULL;
        return 0;
    }
    snprintf(s.folder, sizeof s.folder, "/tmp/adit-apply-XXXXXX");
    assert_non_null(mkdtemp(s.folder));
    for (int i = 0; i < 2; i++) {
        snprintf(s.path[i], sizeof s.path[i], "%s/%d.yaml", s.folder, i);
        write_text(&s, s.path[i], i ? after_text : before_text);
    }
    s.d = daemon_new(s.path[0], load(s.path[0]), NULL);
    assert_non_null(s.d);
    if (daemon_start(s.d, &e) != RC_OK)
        fail_msg("%s", e.text);
    *state = &s;
    return 0;
}

static int stage_close(void **state)
{
    struct stage *s = *state;
    if (!s)
        return 0;
    daemon_free(s->d);
    for (int i = 0; i < 2; i++)
        unlink(s->path[i]);
    rmdir(s->folder);
    return 0;
}

/* ---- what can be seen of it ------------------------------------------------------------------------ */

static void append_file(struct buf *b, const char *path)
{
    char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;)
        OK(buf_append(b, span_of(text, (size_t)n)));
    close(fd);
}

static void __attribute__((format(printf, 2, 3))) say(struct buf *b, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    OK(buf_append(b, span_str(text)));
}

/* The way of a packet from an account's TUN. */
static void say_way(struct daemon *d, struct buf *b, uint32_t account, const char *to)
{
    struct forward *f = crew_forward(d->crew, 0);
    struct pkt *p = pkt_get(f->pool, false), *out[64];
    struct pkt_list list = {.v = out, .cap = ARRAY_LEN(out)};
    struct ip_fields ip = {.proto = IP_PROTO_UDP, .ttl = 64, .payload_len = 8};
    char text[ADDR_TEXT];
    OK(addr_parse("10.77.0.1", &ip.src));
    OK(addr_parse(to, &ip.dst));
    struct wr w = wr_of(p->data, PKT_SMALL);
    wire_ip_write(&w, &ip);
    wr_u64(&w, 0);
    p->len = (uint32_t)wr_len(&w);
    p->from = PKT_FROM_TUN;
    p->account = account;
    dp_from_tun(f->worker, io_clock_now(), &p, 1, f->pool, &list);
    assert_int_equal(list.n, 1);
    say(b, "%s: %u, %s, to %s, ttl %u\n", to, out[0]->verdict, dp_reason_name(out[0]->reason),
        addr_text(&out[0]->outer.dst, text), out[0]->outer.ttl);
    pkt_put(f->pool, out[0]);
}

/* Tunnels, sockets, the kernel's routes, and where packets go. */
static struct buf look(struct daemon *d)
{
    struct buf b = {0};
    char text[ADDR_TEXT];
    for (uint32_t i = 0; i < d->handles.n_tunnels; i++) {
        const struct config_tunnel *row = d->handles.tunnels[i].row;
        struct dp_tunnel_info info;
        if (row && dp_tunnel_info(d->dp, i, &info))
            say(&b, "%s: peer %s, mtu %u, mss %u\n", row->name, addr_text(&row->customer_endpoint, text), info.mtu,
                info.mss4);
    }
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        if (d->handles.accounts[i].row) {
            say(&b, "account %s\n", d->handles.accounts[i].row->id);
            for (int net = 1; net < 10; net++) {
                snprintf(text, sizeof text, "10.%d.0.1", net);
                say_way(d, &b, i, text);
            }
            say_way(d, &b, i, "10.255.0.1");
            say_way(d, &b, i, "10.255.0.3");
        }
    say(&b, "endpoints of the sockets: %zu\n", d->outer->config.want.n_endpoints);
    append_file(&b, "/proc/net/route");
    return b;
}

static void assert_same(const struct buf *got, const struct buf *expected)
{
    if (got->n != expected->n || memcmp(got->p, expected->p, got->n) != 0)
        fail_msg("%.*s\n--- instead of\n%.*s", (int)got->n, (const char *)got->p, (int)expected->n,
                 (const char *)expected->p);
}

static enum rc apply(struct stage *s, int which, size_t n)
{
    struct config *next = load(s->path[which]);
    struct io_error e;
    size_t changes;
    asked = 0;
    fail_at = n;
    enum rc rc = apply_config(s->d, next, &changes, &e);
    fail_at = 0;
    if (rc != RC_OK)
        config_free(next);
    return rc;
}

static void whatever_fails_is_undone(void **state)
{
    struct stage *s = *state;
    if (!s)
        skip();
    struct buf before = look(s->d), after;
    OK(apply(s, 1, 0));
    after = look(s->d);
    assert_false(span_equal(buf_span(&before), buf_span(&after)));
    OK(apply(s, 0, 0));
    struct buf now = look(s->d);
    assert_same(&now, &before);
    buf_free(&now);

    size_t refused = 0;
    for (size_t n = 1;; n++) {
        enum rc rc = apply(s, 1, n);
        bool failed = asked >= n;
        if (rc == RC_OK && !failed)
            break;
        if (rc == RC_OK) /* borne: a device or route of the kernel is missing, and tried again */
            OK(apply(s, 0, 0));
        now = look(s->d);
        assert_same(&now, &before);
        buf_free(&now);
        refused += rc != RC_OK;
        assert_true(n < 5000);
    }
    now = look(s->d);
    assert_same(&now, &after);
    buf_free(&now);
    print_message("# refused %zu times\n", refused);
    assert_true(refused > 50);
    buf_free(&before);
    buf_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_fails_is_undone, stage_open, stage_close)};
    return cmocka_run_group_tests_name("io_apply", tests, namespace_enter, NULL);
}
