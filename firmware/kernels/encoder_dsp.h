/* Twins of kernels of encoder.h for cores with DSP instructions: the same integers. */
#ifndef LSM_ENCODER_DSP_H
#define LSM_ENCODER_DSP_H

#include "dsp.h"
#include "encoder.h"

#endif
