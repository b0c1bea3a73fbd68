"""What the gateway tells about itself: the access log; metrics and traces when their time comes."""
