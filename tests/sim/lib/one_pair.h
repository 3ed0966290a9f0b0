/* One edge and one peer for each test, with short words for what the peer is to do. */
#ifndef ADIT_TESTS_ONE_PAIR_H
#define ADIT_TESTS_ONE_PAIR_H

#include "pair.h"

static struct pair *p;

static inline int set_up(void **state)
{
    (void)state;
    p = pair_new(NULL);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    pair_free(p);
    p = NULL;
    return 0;
}

static inline struct ike_sa_info only_sa(void)
{
    struct ike_sa_info info = {0};
    assert_int_equal(edge_sas(p->e, &info), 1);
    return info;
}

static inline void want(enum initiator_job_type type, uint32_t spi_in)
{
    initiator_want(p->i, p->e->now, (struct initiator_job){.type = type, .spi_in = spi_in});
}

static inline void want_and_carry(enum initiator_job_type type, uint32_t spi_in)
{
    want(type, spi_in);
    pair_carry(p);
}

static inline uint32_t first_child(void)
{
    return p->i->child[0].spi_in;
}

static inline void connect_with(uint16_t esp_ke, uint16_t esp_addke)
{
    p->i->wish.esp.ke = esp_ke;
    p->i->wish.esp.addke[0] = esp_addke;
    pair_connect(p);
}

#endif
