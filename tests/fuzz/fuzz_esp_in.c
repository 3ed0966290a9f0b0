/* ESP from the network: raw octets, and packets sealed with the right keys around any text, several to one window.
 *
 * Input: flags (1: in UDP), then packets; each: how (1: sealed, 2: the CBC SA, 4: from another address), a sequence number when
 * sealed, a part. */
#include "lib/core.h"
#include "lib/fuzz.h"

#include "adit/wire_ip.h"

#define PACKETS_MAX 16

static struct esp_key *key_of(struct crypto *crypto, const struct child_sa *child)
{
    struct esp_key *key;
    OK(crypto_esp_key_new(crypto, child->alg, span_of(child->key_in, child->key_len), &key));
    return key;
}

/* text, cut to whole blocks, as the peer would send it. The caller frees. */
static struct span sealed(struct crypto *crypto, uint32_t spi, uint32_t sequence, struct span text)
{
    static struct esp_key *keys[2];
    struct tunnel_policy ipsec = core_ipsec();
    struct child_sa child = core_child(&ipsec, spi, false);
    struct esp_sizes z;
    struct esp_key **key = &keys[spi == CORE_SPI_CBC];
    if (!*key)
        *key = key_of(crypto, &child);
    assert_true(crypto_esp_sizes(child.alg, &z));
    size_t n = text.n - text.n % z.align, length = ESP_HEADER + z.iv + n + z.icv;
    uint8_t *p = calloc(1, length);
    assert_non_null(p);
    struct wr w = wr_of(p, length);
    wr_u32(&w, spi);
    wr_u32(&w, sequence);
    wr_reserve(&w, z.iv);
    wr_bytes(&w, span_of(text.p, n));
    if (!n) /* the library wants text */
        return span_of(p, length);
    struct esp_op op = {.key = *key, .pkt = p, .text_len = (uint32_t)n};
    crypto_esp_seal(crypto, &op, 1);
    OK(op.rc);
    return span_of(p, length);
}

static void check(const struct core *c)
{
    assert_int_equal(c->n_out, 1);
    const struct pkt *p = c->out[0];
    struct ip_view ip = {0};
    if (p->verdict == PKT_DROP) {
        assert_in_range(p->reason, 1, DP_REASON_END - 1);
        return;
    }
    assert_int_equal(p->verdict, PKT_TO_TUN);
    assert_int_equal(p->account, CORE_ACCOUNT);
    OK(wire_ip_parse(p->data, p->len, &ip)); /* what goes to the TUN is one whole packet */
    assert_int_equal(ip.len, p->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct core c;
    struct rd r = rd_of(span_of(data, n));
    bool udp = rd_u8(&r) & 1;
    enum pkt_from from = udp ? PKT_FROM_NATT : PKT_FROM_ESP;
    core_open(&c, udp);
    for (unsigned k = 0; k < PACKETS_MAX && rd_left(&r); k++) {
        uint8_t how = rd_u8(&r);
        uint32_t sequence = how & 1 ? rd_u32(&r) : 0;
        struct span packet = fuzz_part(&r, 65535);
        struct path path = core_path(from, how & 4 ? "203.0.113.9" : "192.0.2.2");
        if (how & 1) {
            struct span text = packet;
            packet = sealed(c.crypto, how & 2 ? CORE_SPI_CBC : CORE_SPI, sequence, text);
            exact_free(text);
        }
        if (core_packet(&c, from, &path, packet))
            check(&c);
        core_done(&c);
        exact_free(packet);
    }
    core_close(&c);
    return 0;
}
