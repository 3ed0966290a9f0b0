/* ike/policy: the policy of a daemon that was told nothing else. Algorithms in order of preference: RFC 8247, RFC 8221 and, for
 * the hybrid, RFC 9370 with ML-KEM.
 */
#include "adit/ike.h"

void ike_policy_default(struct ike_policy *ret)
{
    *ret = (struct ike_policy){
        .ike =
            {
                .encr = {{ENCR_AES_GCM_16, 256}, {ENCR_AES_GCM_16, 128}, {ENCR_AES_CBC, 256}},
                .n_encr = 3,
                .integ = {INTEG_HMAC_SHA2_256_128},
                .n_integ = 1,
                .prf = {PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512, PRF_HMAC_SHA2_256},
                .n_prf = 3,
                .ke = {KE_ECP384, KE_MODP2048, KE_MODP1536},
                .n_ke = 3,
                .addke = {KE_ML_KEM_768, KE_ML_KEM_1024},
                .n_addke = 2,
            },
        .esp =
            {
                .encr = {{ENCR_AES_GCM_16, 256}, {ENCR_AES_GCM_16, 128}, {ENCR_AES_CBC, 256}, {ENCR_AES_CBC, 128}},
                .n_encr = 4,
                .integ = {INTEG_HMAC_SHA2_256_128, INTEG_HMAC_SHA1_96},
                .n_integ = 2,
                .ke = {KE_ECP384, KE_MODP2048, KE_MODP1536},
                .n_ke = 3,
                .addke = {KE_ML_KEM_768, KE_ML_KEM_1024},
                .n_addke = 2,
            },
        .half_open_timeout = 30 * NS_PER_S,
        .fragment_timeout = 15 * NS_PER_S,
        .ike_lifetime = 23 * 3600 * NS_PER_S,
        .child_lifetime = 7 * 3600 * NS_PER_S,
        .jitter = 10,
        .followup_timeout = 20 * NS_PER_S,
        .nat_keepalive = 20 * NS_PER_S,
        .retransmit_first = 1 * NS_PER_S,
        .retransmit_tries = 12,
        .fragment_size = 1280,
        .fragment_size_min = 576,
        .max_fragments = 64,
        .max_half_open = 10000,
        .cookie_threshold = 30,
        .cookie_threshold_per_ip = 3,
        .cookie_threshold_per_prefix = 10,
        .init_rate_per_ip = 20,
        .handshakes_per_second = 500,
        .max_sas = 200000,
        .max_children = 100,
        .downgrade_protection = true,
    };
}
