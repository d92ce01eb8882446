/**
 * @file attn.h
 * The whole library: attention over tensors, its weights in every form, and what can be read from them.
 */
#ifndef ATTN_H
#define ATTN_H

#include <attn/aggregate.h>
#include <attn/execution.h>
#include <attn/layer.h>
#include <attn/model.h>
#include <attn/plan.h>
#include <attn/result.h>
#include <attn/safetensors.h>
#include <attn/sdpa.h>
#include <attn/status.h>
#include <attn/tensor.h>
#include <attn/tokenizer.h>

#endif
