/* For the adversarial list: messages taken apart and put together wrongly, and what must be true after each of them. */
#ifndef ADIT_TESTS_ADV_H
#define ADIT_TESTS_ADV_H

#include "sim/lib/pair.h"

/* ---- drafts (initiator.h): payloads changed while a message is made */
void draft_replace(struct draft *d, uint8_t type, struct span body); /* the first of that type */
void draft_remove(struct draft *d, uint8_t type);                    /* all of that type */
void draft_remove_notify(struct draft *d, uint16_t notify);
void draft_double(struct draft *d, uint8_t type);
void draft_append(struct draft *d, uint8_t type, bool critical, struct span body);
void draft_append_notify(struct draft *d, uint16_t notify, struct span data);

/* Bends of one exchange: the hook of a peer that changes its messages of that exchange and leaves others alone. */
struct adv_bend {
    uint8_t exchange;
    void (*bend)(struct draft *d, const void *arg);
    const void *arg;
};
void adv_bend(struct pair *p, struct adv_bend *b); /* b outlives the pair, or until the next */

/* ---- messages by hand */
struct span adv_message(uint64_t spi_i, uint64_t spi_r, uint8_t next, uint8_t exchange, uint8_t flags, uint32_t mid,
                        struct span payloads); /* valid until the next call */
/* A payload with generic header. */
void adv_payload(struct wr *w, uint8_t next, uint8_t flags, struct span body);

/* ---- counting */
struct adv_counts {
    uint64_t v[IKE_COUNT_END];
};
struct adv_counts adv_counts(const struct pair *p);
/* Since `before` only counter c has moved, by n (RECEIVED, and what ends with SENT, aside). */
void adv_assert_only(const struct pair *p, const struct adv_counts *before, enum ike_count c, uint64_t n);
/* Give it: no action, and only c moves, by one. */
void adv_silent(struct pair *p, struct span datagram, enum ike_count c);

/* ---- groups */
extern struct pair *adv; /* made anew for each test, with the cheapest suite */
int adv_set_up(void **state);
/* The peer is gone: after its tunnel is taken down nothing may be left. */
int adv_tear_down(void **state);
void adv_start_over(const struct ike_policy *policy);
struct ike_policy adv_policy(void); /* the default one and ECP-256 */
#define ADV(name) cmocka_unit_test_setup_teardown(name, adv_set_up, adv_tear_down)

#endif
