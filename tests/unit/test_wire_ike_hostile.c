/* Every valid message cut at every octet, and mutated at random: the codec ends with a result, and whatever it lends lies inside
 * the datagram. Meant to be run under sanitizers; each input has its own allocation of its exact size. */
#include "adit/wire_ike.h"
#include "lib/unit.h"

struct sample {
    const char *what;
    uint8_t b[512];
    size_t n;
    bool inner; /* bare payloads from `first` on */
    uint8_t first;
    uint8_t exchange;
    bool response;
};
static struct sample samples[8];
static size_t n_samples;

static const struct ike_transform_out suite[] = {{T_ENCR, 20, 256}, {T_PRF, 6, 0}, {T_KE, 20, 0}, {T_ADDKE1, 36, 0}};
static const struct ike_ts any[] = {{.type = 7, .port_last = 65535, .last.b = {255, 255, 255, 255}},
                                    {.type = 8, .port_last = 65535}};

static struct ike_writer open_sample(const char *what, uint8_t exchange, bool response, bool inner)
{
    struct sample *s = &samples[n_samples++];
    struct ike_writer iw;
    *s = (struct sample){.what = what, .exchange = exchange, .response = response, .inner = inner};
    struct ike_header h = {.spi_i = 1,
                           .version = IKE_VERSION,
                           .exchange = exchange,
                           .flags = response ? IKE_FLAG_RESPONSE : IKE_FLAG_INITIATOR};
    if (inner)
        ike_write_inner(&iw, wr_of(s->b, sizeof s->b));
    else
        ike_write_message(&iw, wr_of(s->b, sizeof s->b), &h);
    return iw;
}
static void close_sample(struct ike_writer *iw)
{
    struct span out;
    OK(ike_write_finish(iw, &out));
    samples[n_samples - 1].n = out.n;
    samples[n_samples - 1].first = ike_write_first(iw);
}

static void write_sa_init(struct ike_writer *iw)
{
    ike_write_notify(iw, 0, span_of(NULL, 0), N_COOKIE, hex("00112233445566778899"));
    ike_write_begin(iw, PAYLOAD_SA);
    ike_write_proposal(iw, 1, PROTO_IKE, span_of(NULL, 0), suite, 4, false);
    ike_write_proposal(iw, 2, PROTO_IKE, span_of(NULL, 0), suite, 3, true);
    ike_write_end(iw);
    ike_write_ke(iw, 20, hex("00112233445566778899aabbccddeeff"));
    ike_write_nonce(iw, hex("00112233445566778899aabbccddeeff"));
    ike_write_notify(iw, 0, span_of(NULL, 0), N_IKEV2_FRAGMENTATION_SUPPORTED, span_of(NULL, 0));
    ike_write_begin(iw, PAYLOAD_VENDOR);
    ike_write_end(iw);
}

static int make_samples(void **state)
{
    (void)state;
    struct ike_writer iw = open_sample("IKE_SA_INIT request", IKE_SA_INIT, false, false);
    write_sa_init(&iw);
    close_sample(&iw);

    iw = open_sample("IKE_AUTH datagram", IKE_AUTH, false, false);
    ike_write_begin(&iw, PAYLOAD_SK);
    wr_reserve(&iw.w, 64);
    ike_write_end(&iw);
    close_sample(&iw);

    iw = open_sample("IKE_INTERMEDIATE fragment", IKE_INTERMEDIATE, false, false);
    ike_write_begin(&iw, PAYLOAD_SKF);
    wr_u32(&iw.w, 0x00010002);
    wr_reserve(&iw.w, 64);
    ike_write_end(&iw);
    close_sample(&iw);

    iw = open_sample("IKE_AUTH request, inner", IKE_AUTH, false, true);
    ike_write_id(&iw, PAYLOAD_IDI, 2, span_str("acme.example.net"));
    ike_write_notify(&iw, 0, span_of(NULL, 0), N_INITIAL_CONTACT, span_of(NULL, 0));
    ike_write_id(&iw, PAYLOAD_IDR, 1, hex("c6336402"));
    ike_write_auth(&iw, 2, hex("00112233445566778899aabbccddeeff"));
    ike_write_sa(&iw, 1, PROTO_ESP, hex("01020304"), suite, 1);
    ike_write_ts(&iw, PAYLOAD_TSI, any, 2);
    ike_write_ts(&iw, PAYLOAD_TSR, any, 2);
    close_sample(&iw);

    iw = open_sample("CREATE_CHILD_SA request, inner", CREATE_CHILD_SA, false, true);
    ike_write_notify(&iw, PROTO_ESP, hex("aabbccdd"), N_REKEY_SA, span_of(NULL, 0));
    ike_write_sa(&iw, 1, PROTO_ESP, hex("01020304"), suite, 4);
    ike_write_nonce(&iw, hex("00112233445566778899aabbccddeeff"));
    ike_write_ke(&iw, 20, hex("aabb"));
    ike_write_ts(&iw, PAYLOAD_TSI, any, 1);
    ike_write_ts(&iw, PAYLOAD_TSR, any, 1);
    close_sample(&iw);

    iw = open_sample("INFORMATIONAL response, inner", INFORMATIONAL, true, true);
    ike_write_delete_esp(&iw, (uint32_t[]){0x101, 0x102, 0x103}, 3);
    ike_write_delete_ike(&iw);
    close_sample(&iw);
    return 0;
}

/* Is s inside whole? */
static void assert_inside(struct span s, struct span whole)
{
    assert_true(s.n == 0 || (s.p >= whole.p && s.p + s.n <= whole.p + whole.n));
}

static unsigned read_bodies(const struct ike_chain *c, struct span whole)
{
    unsigned ok = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct span body = c->v[i].body;
        struct ike_error e;
        struct ike_ke k;
        struct ike_id id;
        struct ike_auth a;
        struct ike_notify n;
        struct ike_delete d;
        struct ike_skf f;
        struct ike_ts ts;
        struct rd r;
        uint8_t count;
        assert_inside(body, whole);
        switch (c->v[i].type) {
        case PAYLOAD_SA:
            if (ike_sa_check(body, &e) != RC_SYNTAX) {
                r = rd_of(body);
                for (struct ike_proposal p; ike_proposal_next(&r, &p);) {
                    unsigned transforms = 0;
                    assert_inside(p.spi, whole);
                    for (struct ike_transform t; ike_transform_next(&p.transforms, &t); transforms++)
                        assert_inside(t.attrs, whole);
                    assert_int_equal(transforms, p.n_transforms);
                    assert_true(rd_done(&p.transforms));
                }
                assert_true(rd_done(&r));
                ok++;
            } else
                assert_in_range(e.offset, 0, body.n);
            break;
        case PAYLOAD_KE:
            if (ike_ke_read(body, &k) == RC_OK)
                ok++, assert_inside(k.data, whole);
            break;
        case PAYLOAD_IDI:
        case PAYLOAD_IDR:
            if (ike_id_read(body, &id) == RC_OK)
                ok++, assert_inside(id.data, whole);
            break;
        case PAYLOAD_AUTH:
            if (ike_auth_read(body, &a) == RC_OK)
                ok++, assert_inside(a.data, whole);
            break;
        case PAYLOAD_NOTIFY:
            if (ike_notify_read(body, &n) == RC_OK)
                ok++, assert_inside(n.spi, whole), assert_inside(n.data, whole);
            break;
        case PAYLOAD_NONCE: ok += ike_nonce_check(body) == RC_OK; break;
        case PAYLOAD_DELETE:
            if (ike_delete_read(body, &d) == RC_OK) {
                for (unsigned k2 = 0; k2 < d.n; k2++)
                    rd_u32(&d.spis);
                assert_true(rd_done(&d.spis));
                ok++;
            }
            break;
        case PAYLOAD_TSI:
        case PAYLOAD_TSR:
            if (ike_ts_read(body, &count, &r) == RC_OK) {
                unsigned seen = 0;
                while (ike_ts_next(&r, &ts))
                    seen++;
                assert_int_equal(seen, count);
                ok++;
            }
            break;
        case PAYLOAD_SKF:
            if (ike_skf_read(body, &f) == RC_OK)
                ok++, assert_inside(f.rest, whole);
            break;
        default: break;
        }
    }
    return ok;
}

/* All the codec can do with one input. Returns whether its chain and shape are good. */
static bool digest(const struct sample *s, struct span whole)
{
    struct ike_header h = {.next = s->first, .exchange = s->exchange};
    struct ike_chain c;
    struct ike_error e = {0};
    struct span payloads = whole;
    if (!s->inner) {
        if (ike_header_read(whole, &h) != RC_OK)
            return false;
        payloads = span_of(whole.p + IKE_HEADER_SIZE, whole.n - IKE_HEADER_SIZE);
    }
    if (ike_chain_read(h.next, payloads, &c, &e) != RC_OK) {
        assert_non_null(e.what);
        assert_in_range(e.offset, 0, payloads.n);
        return false;
    }
    assert_in_range(c.n, 0, IKE_PAYLOADS_MAX);
    size_t octets = 0;
    for (size_t i = 0; i < c.n; i++) {
        assert_int_equal(c.v[i].offset, octets); /* without gaps */
        octets += 4 + c.v[i].body.n;
    }
    assert_int_equal(octets, payloads.n);
    ike_chain_critical(&c);
    struct ike_notify n;
    ike_notify_find(&c, N_COOKIE, &n);
    read_bodies(&c, whole);
    return ike_shape_check(h.exchange, s->response, s->inner, &c, &e) == RC_OK;
}

static void valid_messages_are_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_samples; i++) {
        struct span s = exact_copy(span_of(samples[i].b, samples[i].n));
        if (!digest(&samples[i], s))
            fail_msg("%s", samples[i].what);
        exact_free(s);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_samples; i++)
        for (size_t n = 0; n < samples[i].n; n++) {
            struct span s = exact_copy(span_of(samples[i].b, n));
            if (digest(&samples[i], s))
                fail_msg("%s cut to %zu octets", samples[i].what, n);
            exact_free(s);
        }
}

static void every_extension_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_samples; i++)
        for (size_t more = 1; more <= 8; more++) {
            uint8_t b[sizeof samples[i].b + 8] = {0};
            memcpy(b, samples[i].b, samples[i].n);
            struct span s = exact_copy(span_of(b, samples[i].n + more));
            assert_false(digest(&samples[i], s));
            exact_free(s);
        }
}

static void every_octet_takes_every_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_samples; i++)
        for (size_t at = 0; at < samples[i].n; at++) {
            struct sample s = samples[i];
            for (unsigned v = 0; v < 256; v++) {
                s.b[at] = (uint8_t)v;
                digest(&s, span_of(s.b, s.n));
            }
        }
}

static void a_hundred_thousand_mutations(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x01, 0x03, 0x04, 0x07, 0x08, 0x7f, 0x80, 0xfe, 0xff};
    uint64_t seed = 7296;
    unsigned good = 0;
    for (unsigned round = 0; round < 100000; round++) {
        const struct sample *from = &samples[dice(&seed) % n_samples];
        uint8_t b[sizeof from->b];
        size_t n = from->n;
        memcpy(b, from->b, n);
        for (unsigned edits = 1 + dice(&seed) % 6; edits; edits--) {
            size_t at = dice(&seed) % n, length = 1 + dice(&seed) % 8;
            switch (dice(&seed) % 4) {
            case 0: b[at] = (uint8_t)dice(&seed); break;
            case 1: b[at] = edges[dice(&seed) % sizeof edges]; break;
            case 2: /* cut a piece out */
                if (at + length < n) {
                    memmove(b + at, b + at + length, n - at - length);
                    n -= length;
                }
                break;
            case 3: /* double a piece */
                if (at + length < n && n + length <= sizeof b) {
                    memmove(b + at + length, b + at, n - at);
                    n += length;
                }
                break;
            }
        }
        struct span s = exact_copy(span_of(b, n));
        good += digest(from, s);
        exact_free(s);
    }
    assert_in_range(good, 1, 99999); /* some mutations are harmless, most are not */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(valid_messages_are_good),       TEST(every_truncation_is_refused),  TEST(every_extension_is_refused),
        TEST(every_octet_takes_every_value), TEST(a_hundred_thousand_mutations),
    };
    return cmocka_run_group_tests_name("wire_ike_hostile", tests, make_samples, NULL);
}
