def test_a(client): 
    print(client.fdinfo())
def test_b(npu): print(npu.state()); assert 1 == 2
