# The Python side: the producers and Flower. The build's context is examples/.
FROM python:3.12-slim
RUN pip install --no-cache-dir 'celery[redis]==5.7.0' 'flower==2.0.1' \
	&& useradd --system --uid 10002 producer
COPY producers /producers
USER 10002
WORKDIR /producers
CMD ["python3", "send_all.py"]
