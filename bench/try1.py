import asyncio,sys,statistics as s
from bench.scenario import *
from bench.stage import play
sc=[Scenario(name="floor",play="entries",entries=100,warm_up=10,floor=True,size=6000),
Scenario(name="floorws",play="entries",entries=100,warm_up=10,floor=True,size=6000,transport="ws"),
Scenario(name="push",play="entries",entries=100,warm_up=10)]
for x in sc:
    if len(sys.argv)>1 and x.name not in sys.argv[1:]: continue
    r=asyncio.run(play(x))
    for k,v in r.samples.items():
        v.sort(); print(x.name,k,len(v),f"med {s.median(v)/1000:.2f} p99 {v[int(len(v)*.99)]/1000:.2f} max {v[-1]/1000:.2f} ms")
    print(r.counts)
