"""The server that a Python team would write: FastAPI, orjson both ways, torch in inference mode.

Run with: uvicorn --app-dir bench/peers fastapi_peer:app --workers 2 --loop uvloop --http httptools
"""
import os

import numpy as np
import orjson
import torch
from fastapi import FastAPI, Request, Response

torch.set_num_threads(int(os.environ.get("PEER_THREADS", "1")))
app = FastAPI()


@app.post("/attention")
async def attention(request: Request):
    body = orjson.loads(await request.body())
    heads = body.get("num_heads", 1)
    with torch.inference_mode():
        query = torch.from_numpy(np.asarray(body["query"], dtype=np.float32))
        key = torch.from_numpy(np.asarray(body["key"], dtype=np.float32)) if "key" in body else query
        value = torch.from_numpy(np.asarray(body["value"], dtype=np.float32)) if "value" in body else key
        length, width = query.shape
        q, k, v = (t.view(-1, heads, width // heads).transpose(0, 1) for t in (query, key, value))
        weights = torch.softmax((q * (width // heads) ** -0.5) @ k.transpose(-1, -2), -1)
        output = (weights @ v).transpose(0, 1).reshape(length, width)
        form = body.get("weights", "average")
        answer = {"output": output.numpy(),
                  "weights": {form: (weights.mean(0) if form == "average" else weights).contiguous().numpy()}}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
