/* Twins of kernels of readout.h for cores with DSP instructions: the same integers. */
#ifndef LSM_READOUT_DSP_H
#define LSM_READOUT_DSP_H

#include "dsp.h"
#include "readout.h"

#endif
